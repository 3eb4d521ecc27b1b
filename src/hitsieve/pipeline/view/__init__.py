"""What the pages and reports show of finished runs: plain facts, without web and without drawing."""
