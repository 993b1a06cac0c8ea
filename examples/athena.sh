#!/bin/sh
# Writes a small Athena project of N documents (300) into ./athena: for examples/athena.toml.
set -eu
count=${1:-300}
to=${2:-athena}
mkdir -p "$to/.agent/skills/protocols" "$to/.agent/workflows" \
    "$to/.context/case_studies" "$to/.context/sessions"
n=0
while [ "$n" -lt "$count" ]; do
    n=$((n + 1))
    number=$(printf %03d "$n")
    case $((n % 5)) in
        0) file=".agent/skills/protocols/$number-protocol-$n.md" ;;
        1) file=".agent/skills/skill-$n/SKILL.md" ;;
        2) file=".agent/workflows/workflow-$n.md" ;;
        3) file=".context/case_studies/CS-$number-case-$n.md" ;;
        *) file=".context/sessions/2026-03-03-session-$n.md" ;;
    esac
    mkdir -p "$to/${file%/*}"
    cat >"$to/$file" <<END
---
title: Document $n
tags: [example, "number $n"]
---
# Document $n

What stands in it.
END
done
