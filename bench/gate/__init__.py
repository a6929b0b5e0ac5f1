"""The regression gate: is the head of a branch slower, dearer or less right than its base?

`plan` says what is measured, `sides` checks out base and head, `measure` and `counts` run in processes of either,
`pairs` runs those in turn, `rule` judges what they give, and `command` puts it together.
"""
