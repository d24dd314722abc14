"""The LSTM's cell, forward and back, compiled: one pass over a step's gates each.

Element-wise operations one by one would read and write the gates a dozen times.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from perpwalk import kernels

# NaN and infinity keep their meaning (no "nnan", "ninf"): divergence must be seen, not clamped.
_LAX = {"contract", "reassoc", "arcp", "nsz", "afn"}
compiled: Any = kernels.kept(nogil=True, fastmath=_LAX, error_model="numpy")
_f4 = np.float32


@numba.njit(inline="always", fastmath=_LAX)
def _tanh(x):  # type: ignore[no-untyped-def]
    """Hyperbolic tangent in float32, within 4e-7: a rational minimax approximation.

    Beyond ±7.9053 float32 knows no difference from ±1. Coefficients: the degree 13/6 fit that is in
    public use since Cephes-style vector libraries.
    """
    limit = _f4(7.9053111)
    x = limit if x > limit else x
    x = -limit if x < -limit else x
    s = x * x
    p = _f4(-2.76076847742355e-16)
    p = p * s + _f4(2.00018790482477e-13)
    p = p * s + _f4(-8.60467152213735e-11)
    p = p * s + _f4(5.12229709037114e-08)
    p = p * s + _f4(1.48572235717979e-05)
    p = p * s + _f4(6.37261928875436e-04)
    p = p * s + _f4(4.89352455891786e-03)
    q = _f4(1.19825839466702e-06)
    q = q * s + _f4(1.18534705686654e-04)
    q = q * s + _f4(2.26843463243900e-03)
    q = q * s + _f4(4.89352518554385e-03)
    return x * p / q


# Rows are handed on as one-dimensional slices: only then are the loops made into vector code.


@compiled
def _cell(i, f, g, o, before, after, bent, state):  # type: ignore[no-untyped-def]
    for j in range(state.shape[0]):
        i[j] = _f4(0.5) * _tanh(_f4(0.5) * i[j]) + _f4(0.5)
    for j in range(state.shape[0]):
        f[j] = _f4(0.5) * _tanh(_f4(0.5) * f[j]) + _f4(0.5)
    for j in range(state.shape[0]):
        g[j] = _tanh(g[j])
    for j in range(state.shape[0]):
        o[j] = _f4(0.5) * _tanh(_f4(0.5) * o[j]) + _f4(0.5)
    for j in range(state.shape[0]):
        c = f[j] * before[j] + i[j] * g[j]
        after[j] = c
        t = _tanh(c)
        bent[j] = t
        state[j] = o[j] * t


@compiled
def step_forward(gates, before, after, bent, state):  # type: ignore[no-untyped-def]
    """Turn pre-activations (b, 4h) into gates in place; fill cell, its tanh, and state (b, h)."""
    rows, h = state.shape
    for b in range(rows):
        p = gates[b]
        _cell(p[:h], p[h : 2 * h], p[2 * h : 3 * h], p[3 * h :], before[b], after[b], bent[b],
              state[b])  # fmt: skip


@compiled
def _cell_back(i, f, g, o, before, bent, d_state, d_cell, through):  # type: ignore[no-untyped-def]
    # Three loops of few arrays each: one of twelve is slower, its arrays must be told apart.
    one = _f4(1)
    for j in range(d_state.shape[0]):
        oj, t, d = o[j], bent[j], d_state[j]
        through[j] = d_cell[j] + d * oj * (one - t * t)
        o[j] = d * t * oj * (one - oj)
    for j in range(d_state.shape[0]):
        e, fj = through[j], f[j]
        d_cell[j] = e * fj
        f[j] = e * before[j] * fj * (one - fj)
    for j in range(d_state.shape[0]):
        e, ij, gj = through[j], i[j], g[j]
        i[j] = e * gj * ij * (one - ij)
        g[j] = e * ij * (one - gj * gj)


@compiled
def _add(values, summed):  # type: ignore[no-untyped-def]
    for j in range(summed.shape[0]):
        summed[j] += values[j]


@compiled
def step_back(gates, before, bent, d_state, d_cell, through, summed):  # type: ignore[no-untyped-def]
    """Turn gates (b, 4h) into gradients of the pre-activations in place; add them to ``summed``."""
    rows, h = d_state.shape
    for b in range(rows):
        p = gates[b]
        _cell_back(p[:h], p[h : 2 * h], p[2 * h : 3 * h], p[3 * h :], before[b], bent[b],
                   d_state[b], d_cell[b], through)  # fmt: skip
        _add(p, summed)
