#!/usr/bin/env python3
"""What listening costs: CPU seconds a second of audio, memory, and start-up, beside PocketSphinx on the same audio.

    cargo build --release && python3 benches/cost.py RECORDING [RECORDING...]

KWS_LIVE names another build of the program, as the one for small boards (README, "Small boards"). Recordings are read
once, cut to ten minutes, and given to every system as 16 kHz mono 16-bit samples. PocketSphinx is measured where `pip
install pocketsphinx` has put it. Every figure is of one process from start to end, loading included; the start is the
median of nine processes that hear nothing. Compare the ratios of one run, not figures of different machines.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave

PROGRAM = os.environ.get("KWS_LIVE") or os.path.join(os.path.dirname(__file__), "..", "target", "release", "kws-live")
WORDS = "hello,stop,computer,mirror,jarvis,alexa,morning,government,umbrella,telephone".split(",")
SECONDS = 600
STARTS = 9

POCKETSPHINX = """
import sys, wave
from pocketsphinx import Decoder
lines = "".join(f"{w} /1e-20/\\n" for w in sys.argv[2:] )
open("keys.list", "w").write(lines)
d = Decoder(kws="keys.list", lm=None, loglevel="FATAL")
d.start_utt()
with wave.open(sys.argv[1]) as w:
    while True:
        block = w.readframes(1440)
        if not block:
            break
        d.process_raw(block, False, False)
        if d.hyp():
            d.end_utt()
            d.start_utt()
d.end_utt()
"""


def measure(command, stdin=None, cwd=None, **environment):
    """CPU seconds, peak memory in MB and wall seconds of a process."""
    start = time.monotonic()
    with open(stdin or os.devnull, "rb") as source:
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, **environment},
        )
        error = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        sys.exit(f"{command[0]} failed: {error.decode(errors='replace').strip()}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, time.monotonic() - start


def start(command, stdin=None, cwd=None):
    """Wall seconds and peak memory in MB of a process that hears nothing: the medians of several."""
    _, rss, wall = zip(*(measure(command, stdin, cwd) for _ in range(STARTS)))
    return statistics.median(wall), statistics.median(rss)


def record(files, raw, wav):
    """Writes the recordings, repeated up to the length, without samples around and as wav.

    Block by block: what this process holds counts as its children's peak memory (exec keeps the mark).
    """
    left = SECONDS * 16000
    with open(raw, "wb") as plain, wave.open(wav, "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        while left > 0:
            for file in files:
                if left == 0:
                    break
                with wave.open(file) as source:
                    if (source.getframerate(), source.getnchannels(), source.getsampwidth()) != (16000, 1, 2):
                        sys.exit(f"{file}: give 16 kHz mono 16-bit wav files")
                    block = source.readframes(min(left, source.getnframes()))
                if not block:
                    sys.exit(f"{file}: it is empty")
                plain.write(block)
                out.writeframes(block)
                left -= len(block) // 2


def words_for(count):
    """So many keywords: pronounceable made-up phone strings behind the real words, no two alike."""
    phones = "B AE D K IY L M AO N S IH T P ER F AH R OW G EH Z UW V AY W SH".split()
    made = []
    for i in range(count):
        # The first phone and the length tell 130 of them apart, the step between phones the rest.
        first, step = i * 7, 3 + i % 5 + i // 130 * 2
        made.append(f"w{i}=[{' '.join(phones[(first + j * step) % len(phones)] for j in range(4 + i % 5))}]")
    return ",".join((WORDS + made)[:count])


def main():
    files = sys.argv[1:]
    if not files:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        raw = os.path.join(folder, "a.raw")
        wav = os.path.join(folder, "a.wav")
        record(files, raw, wav)
        silence = os.path.join(folder, "silence.wav")
        with wave.open(silence, "wb") as out:
            out.setparams((1, 2, 16000, 0, "NONE", ""))
        rows = []
        starts = [("kws-live", *start([PROGRAM, "--keywords", words_for(10), "--input", "-", "--json"]))]
        for count in (1, 10, 100, 1000):
            live = [PROGRAM, "--keywords", words_for(count), "--input", "-", "--json"]
            rows.append((f"kws-live, live chunks of 120 ms, {count} keywords", *measure(live, raw)))
            if count == 10:
                # As examples/kws-live.service sets it: glibc gives back what loading the model has freed.
                limit = {"MALLOC_MMAP_THRESHOLD_": "65536"}
                rows.append(("the same with MALLOC_MMAP_THRESHOLD_=65536", *measure(live, raw, **limit)))
        for count in (10, 1000):
            scan = [PROGRAM, "scan", "--jobs", "1", "--keywords", words_for(count), "--json", wav]
            rows.append((f"kws-live scan, {count} keywords, one core", *measure(scan)))
        try:
            import pocketsphinx  # noqa: F401

            for count in (1, 10):
                command = [sys.executable, "-c", POCKETSPHINX, wav, *WORDS[:count]]
                rows.append((f"PocketSphinx, {count} keywords", *measure(command, cwd=folder)))
            command = [sys.executable, "-c", POCKETSPHINX, silence, *WORDS]
            starts.append(("PocketSphinx", *start(command, cwd=folder)))
        except ImportError:
            print("PocketSphinx is not installed: pip install pocketsphinx", file=sys.stderr)
        print(f"| {SECONDS} s of audio | CPU s / s | times real time | peak RSS, MB |\n|---|---|---|---|")
        for name, cpu, rss, wall in rows:
            print(f"| {name} | {cpu / SECONDS:.4f} | {SECONDS / wall:.0f} | {rss:.0f} |")
        print("\n| start, ten keywords | ms | peak RSS, MB |\n|---|---|---|")
        for name, wall, rss in starts:
            print(f"| {name} | {1000 * wall:.0f} | {rss:.0f} |")


if __name__ == "__main__":
    main()
