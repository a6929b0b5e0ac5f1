"""The tests of the layers draw as many examples as HYPOTHESIS_PROFILE says."""

from rnn_parity.tests import profiles

assert profiles
