"""What tests share: real data where it is there, a small drawn sample, and a dataset converted from it."""

from pathlib import Path

import hypothesis
import pytest

# A loaded machine is no failure: pytest's own timeout catches what hangs.
hypothesis.settings.register_profile("concord", deadline=None)
hypothesis.settings.load_profile("concord")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data, which is no part of the project; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data is not there: it is looked for in ../shared/data beside the project")
    return folder.resolve()


@pytest.fixture(scope="session")
def sample_h5(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a drawn .h5 file in the course file's layout: 400 train, 160 test and 80 validation crops."""
    from pipelines.drawing import SampleSize, write_sample

    path = tmp_path_factory.mktemp("sample") / "drawn.h5"
    write_sample(str(path), SampleSize(train=400, test=160, validation=80), seed=3)
    return str(path)


@pytest.fixture(scope="session")
def converted(sample_h5: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A root folder with the dataset `drawn`, 8 shards a split. Read it only: a test that writes works on a copy."""
    from pipelines.convert_stage import convert
    from pipelines.execution import Context
    from schemas.settings import ConvertSettings

    root = str(tmp_path_factory.mktemp("converted"))
    settings = ConvertSettings(dataset="drawn", source="svhn_h5", input=(sample_h5,), shards=8)
    convert(settings, Context(root))
    return root
