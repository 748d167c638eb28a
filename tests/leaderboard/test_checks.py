def test_valid(board, naive):
    from clbench.leaderboard.checks import validate_board
    assert list(validate_board(board)) == []
