# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_stafctl_global_optspecs
    string join \n v/version h/help
end

function __fish_stafctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_stafctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_stafctl_using_subcommand
    set -l cmd (__fish_stafctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c stafctl -n "__fish_stafctl_needs_command" -s v -l version -d 'Print the version, then exit'
complete -c stafctl -n "__fish_stafctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stafctl -n "__fish_stafctl_needs_command" -f -a "tron" -d 'Switch trace on: the daemon logs every step (root only)'
complete -c stafctl -n "__fish_stafctl_needs_command" -f -a "troff" -d 'Switch trace off (root only)'
complete -c stafctl -n "__fish_stafctl_needs_command" -f -a "status" -d 'Show the state of the daemon and of its controllers, with their log pages'
complete -c stafctl -n "__fish_stafctl_needs_command" -f -a "ls" -d 'List the discovery controllers'
complete -c stafctl -n "__fish_stafctl_needs_command" -f -a "watch" -d 'Print each change of the discovery controllers, until interrupted'
complete -c stafctl -n "__fish_stafctl_needs_command" -f -a "why" -d 'Show the history of one controller'
complete -c stafctl -n "__fish_stafctl_needs_command" -f -a "dlp" -d 'Show the log page of one discovery controller'
complete -c stafctl -n "__fish_stafctl_needs_command" -f -a "adlp" -d 'Show the log pages of all discovery controllers'
complete -c stafctl -n "__fish_stafctl_using_subcommand tron" -s h -l help -d 'Print help'
complete -c stafctl -n "__fish_stafctl_using_subcommand troff" -s h -l help -d 'Print help'
complete -c stafctl -n "__fish_stafctl_using_subcommand status" -s o -l output -d 'Format of the answer [default: table on a terminal, else python]' -r -f -a "table\t'Made for reading'
json\t'Made for programs'
python\t'The notation of nvme-stas 2, for scripts that parse it'"
complete -c stafctl -n "__fish_stafctl_using_subcommand status" -l full -d 'Shorten nothing, also on a terminal'
complete -c stafctl -n "__fish_stafctl_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stafctl -n "__fish_stafctl_using_subcommand ls" -s o -l output -d 'Format of the answer [default: table on a terminal, else python]' -r -f -a "table\t'Made for reading'
json\t'Made for programs'
python\t'The notation of nvme-stas 2, for scripts that parse it'"
complete -c stafctl -n "__fish_stafctl_using_subcommand ls" -l check -d 'Exit with status 1 if a listed controller that is wanted is not connected, and name it on standard error'
complete -c stafctl -n "__fish_stafctl_using_subcommand ls" -l names -d 'Print only the devices and NQNs, each on a line of its own'
complete -c stafctl -n "__fish_stafctl_using_subcommand ls" -l no-legend -d 'Print no headings'
complete -c stafctl -n "__fish_stafctl_using_subcommand ls" -s d -l detailed -d 'Show all that is known of each controller'
complete -c stafctl -n "__fish_stafctl_using_subcommand ls" -l full -d 'Shorten nothing, also on a terminal'
complete -c stafctl -n "__fish_stafctl_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stafctl -n "__fish_stafctl_using_subcommand watch" -s o -l output -d 'Format of the events' -r -f -a "text\t'A line made for reading'
json\t'A JSON object on one line'"
complete -c stafctl -n "__fish_stafctl_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stafctl -n "__fish_stafctl_using_subcommand why" -s o -l output -d 'Format of the answer [default: table on a terminal, else python]' -r -f -a "table\t'Made for reading'
json\t'Made for programs'
python\t'The notation of nvme-stas 2, for scripts that parse it'"
complete -c stafctl -n "__fish_stafctl_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -s t -l transport -d 'Transport: tcp, rdma, fc or loop' -r
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -s a -l traddr -d 'Address of the controller' -r
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -s s -l trsvcid -d 'Service ID of the controller, for tcp and rdma its port [default: 8009 for tcp, 4420 for rdma, else none]' -r
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -s w -l host-traddr -d 'Source address that the host connects from, if the connection is bound to one' -r
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -s f -l host-iface -d 'Interface that the host connects through, if the connection is bound to one' -r
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -s q -l hostnqn -d 'Host NQN that the host connects with [default: that of sys.conf]' -r
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -s n -l nqn -d 'NQN of the controller' -r
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -s o -l output -d 'Format of the answer [default: table on a terminal, else python]' -r -f -a "table\t'Made for reading'
json\t'Made for programs'
python\t'The notation of nvme-stas 2, for scripts that parse it'"
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -l full -d 'Shorten nothing, also on a terminal'
complete -c stafctl -n "__fish_stafctl_using_subcommand dlp" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stafctl -n "__fish_stafctl_using_subcommand adlp" -s o -l output -d 'Format of the answer [default: table on a terminal, else python]' -r -f -a "table\t'Made for reading'
json\t'Made for programs'
python\t'The notation of nvme-stas 2, for scripts that parse it'"
complete -c stafctl -n "__fish_stafctl_using_subcommand adlp" -s d -l detailed -d 'Show all that is known of each controller'
complete -c stafctl -n "__fish_stafctl_using_subcommand adlp" -l full -d 'Shorten nothing, also on a terminal'
complete -c stafctl -n "__fish_stafctl_using_subcommand adlp" -s h -l help -d 'Print help (see more with \'--help\')'
# The devices and NQNs that the daemon knows.
complete -c stafctl -n "__fish_stafctl_using_subcommand ls" -f -a "(stafctl ls --names 2>/dev/null)"
complete -c stafctl -n "__fish_stafctl_using_subcommand why" -f -a "(stafctl ls --names 2>/dev/null)"
