"""``python -m mmanchor`` is the command ``mmanchor``."""

from mmanchor_cli import main

if __name__ == '__main__':
    main()
