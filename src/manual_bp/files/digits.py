"""scikit-learn's handwritten digits."""

import numpy as np


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The pixels of 1,797 images of 8×8, (1797, 64) in [0, 1], and their labels 0 to 9.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.

    Example:
        >>> pixels, labels = digits()
        >>> pixels.shape, labels[:5].tolist()
        ((1797, 64), [0, 1, 2, 3, 4])
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'source: "digits" needs scikit-learn, which is not installed; '
            "run: pip install 'manual_bp[data]'"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    return pixels / 16, labels  # ink counts of 4×4 blocks, 0 to 16
