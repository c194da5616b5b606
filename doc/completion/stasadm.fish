# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_stasadm_global_optspecs
    string join \n v/version c/conf-file= h/help
end

function __fish_stasadm_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_stasadm_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_stasadm_using_subcommand
    set -l cmd (__fish_stasadm_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c stasadm -n "__fish_stasadm_needs_command" -s c -l conf-file -d 'The configuration file to change' -r -F
complete -c stasadm -n "__fish_stasadm_needs_command" -s v -l version -d 'Print the version, then exit'
complete -c stasadm -n "__fish_stasadm_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stasadm -n "__fish_stasadm_needs_command" -f -a "hostnqn" -d 'Set the host NQN'
complete -c stasadm -n "__fish_stasadm_needs_command" -f -a "hostid" -d 'Set the host ID'
complete -c stasadm -n "__fish_stasadm_needs_command" -f -a "set-symname" -d 'Set the symbolic name, which the host tells to discovery controllers'
complete -c stasadm -n "__fish_stasadm_needs_command" -f -a "clear-symname" -d 'Remove the symbolic name'
complete -c stasadm -n "__fish_stasadm_needs_command" -f -a "check" -d 'Check the configuration files, and show what a reload would do'
complete -c stasadm -n "__fish_stasadm_needs_command" -f -a "nbft" -d 'Show the boot table (NBFT)'
complete -c stasadm -n "__fish_stasadm_using_subcommand hostnqn" -s f -l file -d 'Write the value to FILE, and refer to it in sys.conf; by default the value itself is written into sys.conf' -r -F
complete -c stasadm -n "__fish_stasadm_using_subcommand hostnqn" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stasadm -n "__fish_stasadm_using_subcommand hostid" -s f -l file -d 'Write the value to FILE, and refer to it in sys.conf; by default the value itself is written into sys.conf' -r -F
complete -c stasadm -n "__fish_stasadm_using_subcommand hostid" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stasadm -n "__fish_stasadm_using_subcommand set-symname" -s f -l file -d 'Write the value to FILE, and refer to it in sys.conf; by default the value itself is written into sys.conf' -r -F
complete -c stasadm -n "__fish_stasadm_using_subcommand set-symname" -s h -l help -d 'Print help'
complete -c stasadm -n "__fish_stasadm_using_subcommand clear-symname" -s h -l help -d 'Print help'
complete -c stasadm -n "__fish_stasadm_using_subcommand check" -l reload -d 'As a reload of this daemon (stafd or stacd): check only its own file, look up no names, and print the complaints on the terminals on which `systemctl reload` waits' -r -f -a "stafd\t'The discovery daemon'
stacd\t'The connector daemon'"
complete -c stasadm -n "__fish_stasadm_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c stasadm -n "__fish_stasadm_using_subcommand nbft" -s p -l path -d 'The table, or a folder with tables' -r -F
complete -c stasadm -n "__fish_stasadm_using_subcommand nbft" -s o -l output -d 'Format of the answer' -r -f -a "table\t'Made for reading'
json\t'Made for programs'
python\t'The notation of nvme-stas 2, for scripts that parse it'"
complete -c stasadm -n "__fish_stasadm_using_subcommand nbft" -s h -l help -d 'Print help (see more with \'--help\')'
