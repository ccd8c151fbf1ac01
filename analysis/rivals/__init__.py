"""Other methods of mass mapping, with the same prior knowledge: Kaiser-Squires, Wiener filter, sparse halos, DeepMass.

Read `baselines` first, then `sparse` and `deepmass`, which are tuned on the validation mocks.
"""
