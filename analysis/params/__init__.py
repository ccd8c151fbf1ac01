"""`params.yaml` as frozen, checked records: one dataclass for each section, with the name of its stage.

A key that is unknown, missing or out of range raises `ParamsError`, one sentence that names it. Read `load` first: it
has all sections and the rules between them. `sky` describes the observations and `universe` the simulations, `learning`
the network and the machines, `inference` the samplers, `judging` everything from rivals to figures; `types` has the
kinds of values. The line below a field describes it, also in paper/guide/parameters.md.
"""

# ruff: noqa: F401 (other wings import the records from here)
from analysis.params.inference import RunParams, SampleParams
from analysis.params.judging import ClustersParams, DeepMassParams, FiguresParams, SparseParams
from analysis.params.learning import ComputeParams, NetworkParams, TrainParams
from analysis.params.load import Params, ParamsError, checked_params, load_params, stage_rng
from analysis.params.sky import (
    SUFFIXES,
    CatalogueTable,
    ColumnFiles,
    FieldParams,
    GriddedShear,
    GridParams,
    NullsParams,
    PredictiveParams,
    SkyUnits,
    TableColumns,
)
from analysis.params.types import Precision
from analysis.params.universe import (
    MOST_BOXES,
    DescentParams,
    FilesParams,
    KappatngParams,
    MassivenusParams,
    NbodyParams,
    SimulationsParams,
    SmailParams,
    SourcesParams,
    Splits,
    TheoryParams,
)
