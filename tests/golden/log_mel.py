#!/usr/bin/env python3
"""Log-mel frames by the definitions, in double precision: the golden values of tests/golden.rs.

    python3 tests/golden/log_mel.py > tests/golden/log_mel.txt

Input: x[n] = 0.3 sin(2 pi 440 n / 16000) + 0.1 sin(2 pi 2500 n / 16000 + 1), n < 1040. Default front end without the
running mean: periodic Hann 400, hop 160, DFT 512, 40 triangles equally wide on the mel scale (HTK's formula) from 60 to
7600 Hz with peak 1, natural logarithm of power + 1e-6.
"""
import cmath
import math

RATE, WINDOW, HOP, FFT, MELS, LOW, HIGH, FLOOR = 16000, 400, 160, 512, 40, 60.0, 7600.0, 1e-6


def mel(hz):
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def hz(m):
    return 700.0 * (10.0 ** (m / 2595.0) - 1.0)


x = [0.3 * math.sin(2 * math.pi * 440 * n / RATE) + 0.1 * math.sin(2 * math.pi * 2500 * n / RATE + 1) for n in range(1040)]
edges = [hz(mel(LOW) + (mel(HIGH) - mel(LOW)) * i / (MELS + 1)) for i in range(MELS + 2)]
for first in range(0, len(x) - WINDOW + 1, HOP):
    frame = [x[first + n] * (0.5 - 0.5 * math.cos(2 * math.pi * n / WINDOW)) for n in range(WINDOW)]
    power = [
        abs(sum(s * cmath.exp(-2j * math.pi * k * n / FFT) for n, s in enumerate(frame))) ** 2 for k in range(FFT // 2 + 1)
    ]
    row = []
    for left, centre, right in zip(edges, edges[1:], edges[2:]):
        weights = [
            max(0.0, min((k * RATE / FFT - left) / (centre - left), (right - k * RATE / FFT) / (right - centre)))
            for k in range(FFT // 2 + 1)
        ]
        if sum(weights) < 0.5:
            # A band narrower than the bins' distance hears its nearest bin with at least half its weight.
            nearest = round(centre / (RATE / FFT))
            weights[nearest] = max(weights[nearest], 0.5)
        row.append(math.log(sum(w * p for w, p in zip(weights, power)) + FLOOR))
    print(" ".join(f"{v:.5f}" for v in row))
