#!/usr/bin/env python3
"""How well PocketSphinx hears the words that kws-live is measured by, on the same recordings.

    apt-get install opus-tools && pip install pocketsphinx numpy
    python3 benches/beside_pocketsphinx.py [--data ../shared/data] [--report models/default/report/report.json] [--jobs 2]

Two measures, both from typed text alone (what PocketSphinx's dictionary lacks it is told as the labels have it), as in models/default/report/report.md:

* the wake words of the report, in the same recordings: misses at a number of false alarms an hour and word, one threshold for all words
  and one for each. A detection counts as in `kws-train eval wake`: its middle within half a second of the word's, each word found
  once; where the keyword's phones are said inside something else it counts neither way.
* the words of one-word clips: equal error rate of each word against all other clips, and how often the right one scores highest.

Every keyword is searched at a threshold that lets nearly everything through; its detections are ranked by the
probability that PocketSphinx gives them, which is the quantity its threshold is compared with.
"""
import argparse
import json
import multiprocessing
import os
import subprocess
import tempfile

SPEECH = ["librispeech-dev", "commonvoice-en", "speechocean762", "wuw-telephone", "an4"]
OTHER = ["noise", "music", "other-languages"]
CLIPS = ["happy", "open", "close", "print", "bed", "cat"]
RATES = [0.5, 0.7, 1.0, 2.0, 10.0]
LOWEST = 1e-300
MIDDLES = 0.5
APART = 0.6
RATE = 16000
# An utterance is ended, and its detections are read, after so many seconds; the next one begins so many earlier.
PIECE = 10
OVERLAP = 1
# Quiet behind each recording, as `Spotter::flush` gives it.
QUIET = 0.5


def recordings(data, corpora):
    """The development recordings that `kws-train eval` listens to."""
    found = []
    for corpus in corpora:
        with open(os.path.join(data, corpus, "manifest.jsonl")) as lines:
            entries = [json.loads(line) for line in lines if line.strip()]
        for entry in entries:
            words = entry.get("words") or []
            text = entry.get("text", "").strip()
            machine = entry.get("source", "human") not in ("", "human")
            if entry["split"] != "dev" or machine or (text and not words):
                continue
            words = [(word.lower(), start, end, phones.split()) for word, start, end, phones in words]
            found.append((os.path.join(data, corpus, entry["file"]), words, entry["seconds"]))
    return found


def prepare(words, added):
    """Makes this process's decoder; it listens for all pronunciations of `words`, of which it is told how some are said."""
    from pocketsphinx import Decoder

    # A delay of 0: detections at the very end of a recording count as well.
    listen.decoder = Decoder(lm=None, kws_delay=0, loglevel="FATAL")
    for word, phones in added.items():
        listen.decoder.add_word(word, " ".join(phones), True)
    forms = [form for word in words for form in [word, *(f"{word}({i})" for i in range(2, 6))]]
    with tempfile.NamedTemporaryFile("w", suffix=".list") as keys:
        keys.writelines(f"{form} /{LOWEST}/\n" for form in forms if listen.decoder.lookup_word(form))
        keys.flush()
        listen.decoder.add_kws("keys", keys.name)
    listen.decoder.activate_search("keys")


def listen(path):
    """Detections `(word, start, end, score)` in one recording, times in seconds; of those close together the highest."""
    import numpy

    # The data is Opus, mono; libsndfile takes very short files for broken.
    command = ["opusdec", "--quiet", "--rate", str(RATE), path, "-"]
    pcm = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    samples = numpy.frombuffer(pcm, dtype="<i2")
    samples = numpy.concatenate([samples, numpy.zeros(int(QUIET * RATE), dtype="int16")])
    decoder, heard = listen.decoder, []
    for begin in range(0, max(len(samples) - OVERLAP * RATE, 1), PIECE * RATE):
        decoder.start_utt()
        decoder.process_raw(samples[begin : begin + (PIECE + OVERLAP) * RATE].tobytes(), full_utt=True)
        decoder.end_utt()
        for found in decoder.seg() or []:
            start, end = (begin / RATE + frame / 100 for frame in (found.start_frame, found.end_frame + 1))
            heard.append((found.word.strip().split("(")[0], start, end, found.prob))
    best = []
    for word, start, end, score in sorted(heard, key=lambda h: -h[3]):
        if all(w != word or abs((s + e) / 2 - (start + end) / 2) >= APART for w, s, e, _ in best):
            best.append((word, start, end, score))
    return best


def hear(words, added, files, jobs):
    with multiprocessing.Pool(jobs, prepare, (words, added)) as pool:
        return pool.map(listen, [path for path, _, _ in files], chunksize=8)


def judge(word, pronunciations, files, heard):
    """Scores at the places where the word is said (0 where it was not noticed) and elsewhere."""
    places, alarms = [], []
    for (_, words, _), found in zip(files, heard):
        open_places = [(start + end) / 2 for text, start, end, _ in words if text == word]
        for _, start, end, score in (f for f in found if f[0] == word):
            middle = (start + end) / 2
            hit = next((p for p in open_places if abs(p - middle) <= MIDDLES), None)
            if hit is not None:
                open_places.remove(hit)
                places.append(score)
                continue
            near = [p for _, s, e, phones in words if e > start and s < end for p in phones]
            inside = any(near[i : i + len(own)] == own for own in pronunciations for i in range(len(near)))
            if not inside:
                alarms.append(score)
        places.extend(0.0 for _ in open_places)
    return places, sorted(alarms, reverse=True)


def threshold(alarms, allowed):
    """The lowest score that lets no more than so many alarms through."""
    return alarms[int(allowed)] if int(allowed) < len(alarms) else 0.0


def missed(places, lowest):
    return sum(p <= lowest for p in places)


def eer(positives, negatives):
    """Equal error rate, linear between the thresholds around the crossing."""
    events = sorted([(s, True) for s in positives] + [(s, False) for s in negatives], reverse=True)
    hits = alarms = 0
    before = (1.0, 0.0)
    for i, (score, positive) in enumerate(events):
        hits, alarms = hits + positive, alarms + (not positive)
        if i + 1 < len(events) and events[i + 1][0] == score:
            continue
        now = (1 - hits / len(positives), alarms / len(negatives))
        if now[1] >= now[0]:
            gap = before[0] - before[1]
            share = gap / (gap + now[1] - now[0]) if gap + now[1] - now[0] else 0.0
            return before[0] + share * (now[0] - before[0])
        before = now
    return before[0]


def pronounce(words):
    """Every pronunciation of each word in PocketSphinx's own dictionary."""
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, loglevel="FATAL")
    known = {}
    for word in words:
        forms = [decoder.lookup_word(word)] + [decoder.lookup_word(f"{word}({i})") for i in range(2, 6)]
        known[word] = [form.split() for form in forms if form]
    return known


def wake(args):
    with open(args.report) as report:
        wanted = [w["word"] for w in json.load(report)["wake"]["words"]]
    known = pronounce(wanted)
    files = recordings(args.data, SPEECH + OTHER)
    hours = sum(seconds for _, _, seconds in files) / 3600
    # What its dictionary lacks it is told, as the recordings' labels have it.
    labels = {text: phones for _, words, _ in files for text, _, _, phones in words}
    added = {word: labels[word] for word, forms in known.items() if not forms}
    known.update({word: [phones] for word, phones in added.items()})
    heard = hear(wanted, added, files, args.jobs)
    judged = {word: judge(word, forms, files, heard) for word, forms in known.items()}
    places = sum(len(p) for p, _ in judged.values())
    everything = sorted((a for _, alarms in judged.values() for a in alarms), reverse=True)
    print(f"{len(judged)} wake words ({len(added)} added to the dictionary), {places} places, {len(files)} recordings, {hours:.2f} h\n")
    print("| misses at so many false alarms an hour and word | " + " | ".join(map(str, RATES)) + " |")
    print("|---" * (len(RATES) + 1) + "|")
    common = [threshold(everything, r * hours * len(judged)) for r in RATES]
    row = [sum(missed(p, t) for p, _ in judged.values()) / places for t in common]
    print("| one threshold | " + " | ".join(f"{100 * m:.1f} %" for m in row) + " |")
    own = [sum(missed(p, threshold(a, r * hours)) / len(p) for p, a in judged.values()) / len(judged) for r in RATES]
    print("| one for each word, mean of the words | " + " | ".join(f"{100 * m:.1f} %" for m in own) + " |")


def clips(args):
    files = recordings(args.data, ["short-words"])
    hours = sum(seconds for _, _, seconds in files) / 3600
    scores = [{w: max((f[3] for f in found if f[0] == w), default=0.0) for w in CLIPS} for found in hear(CLIPS, {}, files, args.jobs)]
    says = [" ".join(word for word, *_ in words) for _, words, _ in files]
    print(f"\none-word clips: {len(files)} clips, {hours:.2f} h\n\n| word | clips | EER |\n|---|---|---|")
    rates = []
    for word in CLIPS:
        right = [s[word] for s, said in zip(scores, says) if said == word]
        rates.append(eer(right, [s[word] for s, said in zip(scores, says) if said != word]))
        print(f"| {word} | {len(right)} | {100 * rates[-1]:.1f} % |")
    own = [(s, said) for s, said in zip(scores, says) if said in CLIPS]
    ranked = sum(max(s, key=s.get) == said and s[said] > 0 for s, said in own)
    print(f"\nmean EER {100 * sum(rates) / len(rates):.1f} %; the right one of six scores highest in {100 * ranked / len(own):.1f} % of {len(own)} clips")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--report", default="models/default/report/report.json", help="whose wake words to take")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=["wake", "clips"], help="one of the two measures")
    args = parser.parse_args()
    if args.only != "clips":
        wake(args)
    if args.only != "wake":
        clips(args)


if __name__ == "__main__":
    main()
