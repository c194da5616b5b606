# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_nvmet_global_optspecs
    string join \n dry-run configfs= record= h/help V/version
end

function __fish_nvmet_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_nvmet_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_nvmet_using_subcommand
    set -l cmd (__fish_nvmet_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c nvmet -n "__fish_nvmet_needs_command" -l configfs -d 'The root of configfs [default: /sys/kernel/config]; an ordinary directory is used instead of the kernel (for tests)' -r -F
complete -c nvmet -n "__fish_nvmet_needs_command" -l record -d 'The record of what was created [default: /run/nvmet-stas.json, or DIR/record.json in an ordinary directory DIR]' -r -F
complete -c nvmet -n "__fish_nvmet_needs_command" -l dry-run -d 'Print the steps as lines for a shell and change nothing'
complete -c nvmet -n "__fish_nvmet_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nvmet -n "__fish_nvmet_needs_command" -s V -l version -d 'Print version'
complete -c nvmet -n "__fish_nvmet_needs_command" -f -a "create" -d 'Create or change the target so that it matches a TOML file'
complete -c nvmet -n "__fish_nvmet_needs_command" -f -a "clean" -d 'Remove everything that `create` made, and unload the modules that it loaded'
complete -c nvmet -n "__fish_nvmet_needs_command" -f -a "ls" -d 'Show all ports, subsystems, namespaces and hosts, including those that other tools created'
complete -c nvmet -n "__fish_nvmet_needs_command" -f -a "link" -d 'Export a subsystem on a port'
complete -c nvmet -n "__fish_nvmet_needs_command" -f -a "unlink" -d 'Stop exporting a subsystem on a port; hosts lose this path at once'
complete -c nvmet -n "__fish_nvmet_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c nvmet -n "__fish_nvmet_using_subcommand create" -s f -l file -d 'The TOML file [default: ./nvmet.conf, or the built-in one of that name]' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand create" -l configfs -d 'The root of configfs [default: /sys/kernel/config]; an ordinary directory is used instead of the kernel (for tests)' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand create" -l record -d 'The record of what was created [default: /run/nvmet-stas.json, or DIR/record.json in an ordinary directory DIR]' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand create" -s d -l delete -d 'First remove everything that earlier `create` commands made'
complete -c nvmet -n "__fish_nvmet_using_subcommand create" -l dry-run -d 'Print the steps as lines for a shell and change nothing'
complete -c nvmet -n "__fish_nvmet_using_subcommand create" -s h -l help -d 'Print help'
complete -c nvmet -n "__fish_nvmet_using_subcommand clean" -l configfs -d 'The root of configfs [default: /sys/kernel/config]; an ordinary directory is used instead of the kernel (for tests)' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand clean" -l record -d 'The record of what was created [default: /run/nvmet-stas.json, or DIR/record.json in an ordinary directory DIR]' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand clean" -l dry-run -d 'Print the steps as lines for a shell and change nothing'
complete -c nvmet -n "__fish_nvmet_using_subcommand clean" -s h -l help -d 'Print help'
complete -c nvmet -n "__fish_nvmet_using_subcommand ls" -s o -l output -d 'The output format' -r -f -a "table\t'Tables for people'
json\t'One JSON object for programs'"
complete -c nvmet -n "__fish_nvmet_using_subcommand ls" -l configfs -d 'The root of configfs [default: /sys/kernel/config]; an ordinary directory is used instead of the kernel (for tests)' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand ls" -l record -d 'The record of what was created [default: /run/nvmet-stas.json, or DIR/record.json in an ordinary directory DIR]' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand ls" -l dry-run -d 'Print the steps as lines for a shell and change nothing'
complete -c nvmet -n "__fish_nvmet_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c nvmet -n "__fish_nvmet_using_subcommand link" -s p -l port -d 'The number of the port' -r
complete -c nvmet -n "__fish_nvmet_using_subcommand link" -s s -l subsystem -d 'The NQN of the subsystem' -r
complete -c nvmet -n "__fish_nvmet_using_subcommand link" -l configfs -d 'The root of configfs [default: /sys/kernel/config]; an ordinary directory is used instead of the kernel (for tests)' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand link" -l record -d 'The record of what was created [default: /run/nvmet-stas.json, or DIR/record.json in an ordinary directory DIR]' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand link" -l dry-run -d 'Print the steps as lines for a shell and change nothing'
complete -c nvmet -n "__fish_nvmet_using_subcommand link" -s h -l help -d 'Print help'
complete -c nvmet -n "__fish_nvmet_using_subcommand unlink" -s p -l port -d 'The number of the port' -r
complete -c nvmet -n "__fish_nvmet_using_subcommand unlink" -s s -l subsystem -d 'The NQN of the subsystem' -r
complete -c nvmet -n "__fish_nvmet_using_subcommand unlink" -l configfs -d 'The root of configfs [default: /sys/kernel/config]; an ordinary directory is used instead of the kernel (for tests)' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand unlink" -l record -d 'The record of what was created [default: /run/nvmet-stas.json, or DIR/record.json in an ordinary directory DIR]' -r -F
complete -c nvmet -n "__fish_nvmet_using_subcommand unlink" -l dry-run -d 'Print the steps as lines for a shell and change nothing'
complete -c nvmet -n "__fish_nvmet_using_subcommand unlink" -s h -l help -d 'Print help'
complete -c nvmet -n "__fish_nvmet_using_subcommand help; and not __fish_seen_subcommand_from create clean ls link unlink help" -f -a "create" -d 'Create or change the target so that it matches a TOML file'
complete -c nvmet -n "__fish_nvmet_using_subcommand help; and not __fish_seen_subcommand_from create clean ls link unlink help" -f -a "clean" -d 'Remove everything that `create` made, and unload the modules that it loaded'
complete -c nvmet -n "__fish_nvmet_using_subcommand help; and not __fish_seen_subcommand_from create clean ls link unlink help" -f -a "ls" -d 'Show all ports, subsystems, namespaces and hosts, including those that other tools created'
complete -c nvmet -n "__fish_nvmet_using_subcommand help; and not __fish_seen_subcommand_from create clean ls link unlink help" -f -a "link" -d 'Export a subsystem on a port'
complete -c nvmet -n "__fish_nvmet_using_subcommand help; and not __fish_seen_subcommand_from create clean ls link unlink help" -f -a "unlink" -d 'Stop exporting a subsystem on a port; hosts lose this path at once'
complete -c nvmet -n "__fish_nvmet_using_subcommand help; and not __fish_seen_subcommand_from create clean ls link unlink help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
