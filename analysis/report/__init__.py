"""What people see: tables, README, paper, results page, one run drawn, files for other tools.

Read `tables` first; `readme` and `paper` put them into the text, `page` makes one file of everything.
"""
