"""`params.yaml` as frozen, validated records: one dataclass a section, the stage's own name.

A key that is unknown, missing or out of range raises `ParamsError`, one sentence that names it.

`sky` describes what is observed and `universe` what is simulated, `learning` the network, `inference` the samplers,
`judging` everything from rivals to figures, `compute` where it is done; `load` puts the sections together. What stands
below a field describes it, in paper/guide/parameters.md too.
"""

from analysis.core.paths import DATA, FIGURES, ROOT
from analysis.params.compute import ComputeParams, SlurmParams
from analysis.params.inference import GibbsParams, HmcParams, RunParams, SampleParams
from analysis.params.judging import (
    BaselinesParams,
    CalibrateParams,
    ClustersParams,
    DeepMassParams,
    FiguresParams,
    InjectionParams,
    NullsParams,
    RivalsParams,
    SparseParams,
    ValidateParams,
)
from analysis.params.learning import NetworkParams, TrainParams
from analysis.params.load import Params, ParamsError, checked_params, load_params, stage_rng
from analysis.params.sky import (
    SUFFIXES,
    CatalogueParams,
    CatalogueTable,
    ColumnFiles,
    FieldParams,
    GriddedShear,
    GridParams,
    MocksParams,
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

__all__ = [
    "DATA",
    "FIGURES",
    "MOST_BOXES",
    "ROOT",
    "SUFFIXES",
    "BaselinesParams",
    "CalibrateParams",
    "CatalogueParams",
    "CatalogueTable",
    "ClustersParams",
    "ColumnFiles",
    "ComputeParams",
    "DeepMassParams",
    "DescentParams",
    "FieldParams",
    "FiguresParams",
    "FilesParams",
    "GibbsParams",
    "GridParams",
    "GriddedShear",
    "HmcParams",
    "InjectionParams",
    "KappatngParams",
    "MassivenusParams",
    "MocksParams",
    "NbodyParams",
    "NetworkParams",
    "NullsParams",
    "Params",
    "ParamsError",
    "Precision",
    "RivalsParams",
    "RunParams",
    "SampleParams",
    "SimulationsParams",
    "SkyUnits",
    "SlurmParams",
    "SmailParams",
    "SourcesParams",
    "SparseParams",
    "Splits",
    "TableColumns",
    "TheoryParams",
    "TrainParams",
    "ValidateParams",
    "checked_params",
    "load_params",
    "stage_rng",
]
