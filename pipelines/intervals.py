"""95 % intervals that several tables share."""

import numpy as np
import numpy.typing as npt

Z = 1.959963984540054  # of a normal distribution, the 97.5 % quantile


def wilson(
    successes: npt.NDArray[np.float64], trials: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Share and its Wilson score interval (https://doi.org/10.1080/01621459.1927.10502953); NaN for none tried."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = successes / trials
        spread = Z * np.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
        middle, scale = share + Z**2 / (2 * trials), 1 + Z**2 / trials
        return share, np.clip((middle - spread) / scale, 0, share), np.clip((middle + spread) / scale, share, 1)


def of_share(successes: float, trials: float) -> tuple[float, float, float]:
    """A share and its Wilson interval; NaN for none tried."""
    share, low, high = (float(one[0]) for one in wilson(np.array([float(successes)]), np.array([float(trials)])))
    return share, low, high
