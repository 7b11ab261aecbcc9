"""The dead letters: look, group, replay, repair, discard, export, import; for commands now, and a page later.

There is no terminal and no HTTP here. Looking is in `browse`; what acts on letters is planned and carried out in
`sweep`.
"""
