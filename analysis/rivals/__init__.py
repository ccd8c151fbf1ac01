"""Other ways to a map, on equal terms: Kaiser-Squires, Wiener filter, sparse halos, a direct network.

Read `baselines` first, then `sparse` and `deepmass`; `tuning` sets both on the validation mocks.
"""
