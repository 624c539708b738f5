"""What K references say together: their average and their spread."""
import torch

AVERAGE = ('logits', 'probabilities')


def average_references(logits: torch.Tensor,
                       average: str = 'logits') -> torch.Tensor:
    """Average the answers over references.

    Args:
        logits (torch.Tensor): Logits for each reference.
        average (str): ``'logits'`` (the paper and the authors' code) or
            ``'probabilities'``, the logarithm of whose mean is returned.

    Shape:
        - logits: (K, B, num_classes)
        - output: (B, num_classes); its softmax is the prediction

    Example:
        >>> average_references(torch.zeros(5, 2, 10)).shape
        torch.Size([2, 10])
    """
    if average == 'logits':
        return logits.mean(0)
    log_probs = logits.log_softmax(-1)
    return log_probs.logsumexp(0) - torch.tensor(len(logits)).log()


def reference_spread(logits: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the logits over references.

    The population one (divided by K), so that one reference has no spread.
    Source: Thiagarajan et al., Delta-UQ (NeurIPS 2022), which squashes logits
    first; that hides the spread of confident predictions.

    Args:
        logits (torch.Tensor): Logits for each reference.

    Shape:
        - logits: (K, B, num_classes)
        - output: (B, num_classes)

    Example:
        >>> reference_spread(torch.ones(3, 1, 2)).tolist()
        [[0.0, 0.0]]
    """
    return logits.std(0, correction=0)
