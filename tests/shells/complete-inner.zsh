# In the shell of complete.zsh that has the terminal: ^T prints what completion would offer for the line, and adds nothing to it.
fpath=($1 $fpath)
autoload -Uz compinit && compinit -D -u
offered=()
look() {
    offered=()
    compadd() {
        local -a hits
        builtin compadd -O hits "$@"
        offered+=("$hits[@]")
    }
    _main_complete
    unfunction compadd
}
tell() {
    zle look
    print -r -- "offered: $offered :end"
}
zle -C look complete-word look
zle -N tell
bindkey '^T' tell
# Not in one word: the line that sources this is echoed, and is not what is waited for.
print "the completions are" loaded
