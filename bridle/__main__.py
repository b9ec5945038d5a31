"""`python -m bridle`."""

from bridle.cli import main

raise SystemExit(main())
