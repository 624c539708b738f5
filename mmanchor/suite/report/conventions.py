"""Says how to read the numbers of a report, as far as it has them."""

from ..measure import NUM_BINS
from ..results import SuiteResults


def conventions(results: SuiteResults) -> list[str]:
    """Explain the numbers that a report has, in sentences.

    ``results.json`` explains its keys itself, in ``conventions``.

    Example:
        >>> model = dict(name='a', clean=dict(figures=dict(top1=90.0)))
        >>> conventions(SuiteResults(dict(models=[model])))[0]
        'Accuracy is the share of images whose likeliest class is right.'
    """
    models = results.content['models']
    metrics = set(results.table.dropna(subset='value')['metric'])
    scores = set(results.table['score'])
    shifts, corrupted = results.sets('shifts'), results.corrupted_sets

    def any_has(key: str) -> bool:
        return any(model.get(key) for model in models)

    explained = {
        'Accuracy is the share of images whose likeliest class is right.': (
            'top1' in metrics
        ),
        'On sets with fewer classes than the model (ImageNet-R, ImageNet-A), '
        'only their classes can be answered.': any(
            one.startswith(('ImageNet-R', 'ImageNet-A')) for one in shifts
        ),
        'Of a corrupted set, a number is the mean over kinds at each '
        'severity, then over severities.': bool(corrupted),
        'Calibration errors are those of the predicted class, over whole '
        f'sets. ECE has {NUM_BINS} bins of equal width, smECE has none.': (
            'ece' in metrics
        ),
        'Of a corrupted set, "mean over sets" is the mean of the calibration '
        'errors of each kind and severity; "pooled" is the error of all their '
        'images together, as in reliability diagrams.': (
            'ece_pooled' in metrics
        ),
        'Intervals in brackets are 95 % confidence intervals over images, '
        'each by itself: Wilson for shares, DeLong for AUROC, normal for '
        'other means. For means over kinds and severities, they are '
        'the means of the ends: wide enough although images are the same.': (
            any(metric.endswith('_low') for metric in metrics)
        ),
        'Intervals in the summary are of differences on the same images, '
        'over which kinds and severities are averaged first (Agresti and Min; '
        'DeLong for AUROC).': len(models) > 1,
        'The variation between trainings is in no interval.': True,
        'Calibration errors, AURC, AUPR and FPR95 have no interval, because '
        'their estimates are biased and resampling adds to the bias.': (
            'ece' in metrics
        ),
        'The negative log-likelihood is in nats; the Brier score is the sum '
        'over classes, from 0 to 2.': 'nll' in metrics,
        'AURC is the mean error rate of the n most confident images, over all '
        'n.': 'aurc' in metrics,
        'Images out of distribution are the positive class, and larger scores '
        'are more anomalous. FPR95 is the share of images in distribution '
        'that are rejected where 95 % of the others are found.': (
            bool(results.sets('ood'))
        ),
        'Near sets have other classes of the same kind of images, far sets '
        'other kinds. Their means are over the sets that are there.': (
            bool(results.groups)
        ),
        'KNN, ViM, Mahalanobis and ReAct are fitted on features of a share of '
        'the training images.': bool(
            scores & {'KNN', 'ViM', 'Mahalanobis', 'ReAct'}
        ),
        'Reverse anchoring is the negative log-likelihood of the classes that '
        'the model predicts for its references, each seen relative to the '
        'test image: the largest one, or the mean.': any(
            one.startswith('reverse_anchoring') for one in scores
        ),
        'Prediction sets are fitted on held-out clean images. No random '
        'number is drawn: the likeliest class is always in the set.': (
            any_has('prediction_sets')
        ),
        'An answer is trusted if its confidence is at least the threshold, '
        'which was found on held-out clean images.': any_has('abstention'),
        'The spread is the standard deviation of logits over references, mean '
        'over classes and images.': 'spread' in metrics,
        'Logits are averaged over references, and temperatures divide that '
        'average.': any(
            model.get('num_references')
            and model.get('average', 'logits') == 'logits'
            for model in models
        ),
        'Ensembles average the probabilities of their members. Temperatures '
        'divide the logarithm of that mean; scores of logits, such as energy, '
        'are those of mean logits.': any_has('ensemble'),
        "mCE is the mean over 15 kinds of errors relative to AlexNet's, in "
        '%.': 'relative_mce' in metrics,
    }
    return [text for text, applies in explained.items() if applies]
