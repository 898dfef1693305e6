#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the kernel launches of a .cu file into calls that a C++ compiler reads.

    kernel<N><<<grid, block, shared, stream>>>(arguments)
becomes
    emulated::launch({grid, block, shared}, [&] { kernel<N>(arguments); })

and `extern __shared__ T name[];` becomes a pointer to the block's dynamic shared memory. Launch bounds go. Line numbers
stay."""
import re
import sys


def end_of_brackets(text, at, pair):
    """Position behind the bracket that closes the one at `at`."""
    depth = 0
    for position in range(at, len(text)):
        depth += {pair[0]: 1, pair[1]: -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    raise ValueError("a bracket is not closed")


def top_level_parts(text):
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def translate(text):
    text = re.sub(r"extern __shared__ (\w+) (\w+)\[\];", r"auto* \2 = static_cast<\1*>(emulated::dynamic_shared());", text)
    text = re.sub(r"__launch_bounds__\([^()]*\)", "", text)
    while (begin := text.find("<<<")) >= 0:
        name = re.search(r"\w+(<[^<>;]*>)?\s*$", text[:begin])
        end = text.index(">>>", begin)
        configuration = top_level_parts(text[begin + 3:end])[:3]
        call_end = end_of_brackets(text, end + 3, "()")
        call = f"emulated::launch({{{','.join(configuration)}}}, [&] {{ {name.group(0)}{text[end + 3:call_end]}; }})"
        text = text[:name.start()] + call + text[call_end:]
    return text


def main():
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        text = file.read()
    with open(target, "w", encoding="utf-8") as file:
        file.write(f'#line 1 "{source}"\n{translate(text)}')


main()
