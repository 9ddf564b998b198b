# What zsh itself offers for a line, once phasewatch's completions are loaded from a folder.
#
# Usage: zsh -f complete.zsh FOLDER LINE...      prints LINE:WORD WORD ... for each
#
# Completion works in a shell that talks to a terminal only: an inner one gets a pseudo-terminal, and is told to look.
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner "source ${0:A:h}/complete-inner.zsh ${(q)1}"
zpty -r -m inner heard '*the completions are loaded*'
for line in "${@:2}"; do
    zpty -w -n inner $'\C-u'"$line"$'\C-t'
    zpty -r -m inner heard '*offered: *:end*'
    print -r -- "$line:${${heard##*offered:}%%:end*}"
done
zpty -d inner
