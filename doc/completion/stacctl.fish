# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_stacctl_global_optspecs
    string join \n v/version h/help
end

function __fish_stacctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_stacctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_stacctl_using_subcommand
    set -l cmd (__fish_stacctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c stacctl -n "__fish_stacctl_needs_command" -s v -l version -d 'Print the version, then exit'
complete -c stacctl -n "__fish_stacctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "tron" -d 'Switch trace on: the daemon logs every step (root only)'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "troff" -d 'Switch trace off (root only)'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "status" -d 'Show the state of the daemon and of its controllers'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "ls" -d 'List the I/O controllers'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "watch" -d 'Print each change of the I/O controllers, until interrupted'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "why" -d 'Show the history of one controller'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "tree" -d 'Show interfaces, discovery controllers, subsystems and the paths to them as a picture'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "metrics" -d 'Print metrics, in the text format of OpenMetrics'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "wait" -d 'Wait until subsystems have a live connection'
complete -c stacctl -n "__fish_stacctl_needs_command" -f -a "alert" -d 'Report wanted subsystems that have no path'
complete -c stacctl -n "__fish_stacctl_using_subcommand tron" -s h -l help -d 'Print help'
complete -c stacctl -n "__fish_stacctl_using_subcommand troff" -s h -l help -d 'Print help'
complete -c stacctl -n "__fish_stacctl_using_subcommand status" -s o -l output -d 'Format of the answer [default: table on a terminal, else python]' -r -f -a "table\t'Made for reading'
json\t'Made for programs'
python\t'The notation of nvme-stas 2, for scripts that parse it'"
complete -c stacctl -n "__fish_stacctl_using_subcommand status" -l full -d 'Shorten nothing, also on a terminal'
complete -c stacctl -n "__fish_stacctl_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stacctl -n "__fish_stacctl_using_subcommand ls" -s o -l output -d 'Format of the answer [default: table on a terminal, else python]' -r -f -a "table\t'Made for reading'
json\t'Made for programs'
python\t'The notation of nvme-stas 2, for scripts that parse it'"
complete -c stacctl -n "__fish_stacctl_using_subcommand ls" -l check -d 'Exit with status 1 if a listed controller that is wanted is not connected, and name it on standard error'
complete -c stacctl -n "__fish_stacctl_using_subcommand ls" -l names -d 'Print only the devices and NQNs, each on a line of its own'
complete -c stacctl -n "__fish_stacctl_using_subcommand ls" -l no-legend -d 'Print no headings'
complete -c stacctl -n "__fish_stacctl_using_subcommand ls" -s d -l detailed -d 'Show all that is known of each controller'
complete -c stacctl -n "__fish_stacctl_using_subcommand ls" -l full -d 'Shorten nothing, also on a terminal'
complete -c stacctl -n "__fish_stacctl_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stacctl -n "__fish_stacctl_using_subcommand watch" -s o -l output -d 'Format of the events' -r -f -a "text\t'A line made for reading'
json\t'A JSON object on one line'"
complete -c stacctl -n "__fish_stacctl_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stacctl -n "__fish_stacctl_using_subcommand why" -s o -l output -d 'Format of the answer [default: table on a terminal, else python]' -r -f -a "table\t'Made for reading'
json\t'Made for programs'
python\t'The notation of nvme-stas 2, for scripts that parse it'"
complete -c stacctl -n "__fish_stacctl_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stacctl -n "__fish_stacctl_using_subcommand tree" -s o -l output -d 'Format of the picture' -r -f -a "text\t'Lines, for a terminal'
dot\t'The language of Graphviz'
svg\t'A picture for a browser, in one file'"
complete -c stacctl -n "__fish_stacctl_using_subcommand tree" -l full -d 'Shorten nothing, also on a terminal'
complete -c stacctl -n "__fish_stacctl_using_subcommand tree" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stacctl -n "__fish_stacctl_using_subcommand metrics" -l write -d 'Write them to this file, which is replaced as a whole, instead of standard output' -r -F
complete -c stacctl -n "__fish_stacctl_using_subcommand metrics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stacctl -n "__fish_stacctl_using_subcommand wait" -l timeout -d 'Longest wait in seconds; 0 checks once' -r
complete -c stacctl -n "__fish_stacctl_using_subcommand wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stacctl -n "__fish_stacctl_using_subcommand alert" -l after -d 'How long a subsystem must have had no path, in seconds' -r
complete -c stacctl -n "__fish_stacctl_using_subcommand alert" -l start-units -d 'Also start the unit stas-alert-down@NQN or stas-alert-up@NQN'
complete -c stacctl -n "__fish_stacctl_using_subcommand alert" -s h -l help -d 'Print help (see more with \'--help\')'
# The devices and NQNs that the daemon knows.
complete -c stacctl -n "__fish_stacctl_using_subcommand ls" -f -a "(stacctl ls --names 2>/dev/null)"
complete -c stacctl -n "__fish_stacctl_using_subcommand why" -f -a "(stacctl ls --names 2>/dev/null)"
complete -c stacctl -n "__fish_stacctl_using_subcommand wait" -f -a "(stacctl ls --names 2>/dev/null)"
