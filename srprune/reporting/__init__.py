"""Reports: tables, figures and contact sheets, made from arrays and artifacts alone."""
