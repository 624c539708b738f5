"""Train and measure a grid of settings and seeds:
``python tools/study.py STUDY --work-dir DIR``.
"""

from mmanchor.studies.cli import main, study_parser

make_parser = study_parser

if __name__ == '__main__':
    main()
