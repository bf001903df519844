"""Draw a sample: house-number crops as in the SVHN course file, or labelled scenes as in Open Images."""

from schemas.settings.base import Settings, setting


class DrawSettings(Settings):
    """What to draw."""

    output: str = setting(
        "path to write: the .h5 file of house_numbers, the folder of scenes",
        driver_path=True,
        min_length=1,
        group="Sample",
    )
    sample: str = setting("which sample", default="house_numbers", plugins="samples", group="Sample")
    seed: int = setting("seed of everything drawn", default=7, group="Sample")
    train: int = setting("house_numbers: crops of the train split", default=6000, ge=1, group="Size")
    test: int = setting("house_numbers: crops of the test split", default=2000, ge=1, group="Size")
    validation: int = setting("house_numbers: crops of the validation split", default=1000, ge=1, group="Size")
    images: int = setting("scenes: number of images", default=1200, ge=100, group="Size")  # each anomaly has its own
