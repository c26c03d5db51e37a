"""Speech features in memory-mapped files, for data larger than memory; computed once.

Prepared features are a folder:

    features.json       the name, the kind of features, the checksums of all files, and what was left out
    train.rows          for each utterance and speed, its first frame and the number of its frames: int64
    train.frames        the frames: float32; both little-endian
    train.utterances    the utterances, a line of JSON each; the same three files for validation and test
"""

from sru_data.feature_files.preparation import Progress, prepare, prepared_folder
from sru_data.feature_files.prepared import FeatureFile, PreparedFeatures, open_prepared

__all__ = ["FeatureFile", "PreparedFeatures", "Progress", "open_prepared", "prepare", "prepared_folder"]
