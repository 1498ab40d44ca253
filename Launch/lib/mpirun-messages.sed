# Shortens what mpirun adds to the errors of a job that has failed; everything else passes.
#
# mpirun frames each message of its own between two lines of dashes. Four of them say in eight
# lines what fits in one; they come last and would push the job's own error off the screen.

# Parent and child both do this, and the parent complains when the child has been quicker.
/plm:rsh: Warning: setpgid([0-9,]*) failed in parent with errno=Permission denied/d

/^-\{60,\}$/ {
  N

  # Announces the next message and says nothing itself.
  /\nPrimary job  *terminated normally, but/ {
    :announcement
    N
    /\n-\{60,\}$/! b announcement
    d
  }

  /\nmpirun detected that one or more processes exited with non-zero status/ {
    :status
    N
    /\n-\{60,\}$/! b status
    s/.*Process name: \[\[[0-9]*,[0-9]*\],\([0-9]*\)\].*Exit code: *\([0-9]*\).*/mpirun: rank \1 was the first to fail, with exit code \2./
    b
  }

  /\nORTE has lost communication with a remote daemon/ {
    :lost
    N
    /\n-\{60,\}$/! b lost
    s/.*Remote daemon: \[\[[0-9,]*\],[0-9]*\] on node \([^ \n]*\).*/mpirun: nothing is heard of host \1 any more; its network, the host or its mpirun daemon has failed, and the job has been ended./
    b
  }

  /\nMPI_ABORT was invoked on rank [0-9]/ {
    :abort
    N
    /\n-\{60,\}$/! b abort
    s/.*invoked on rank \([0-9]*\) in .*with errorcode \(-\{0,1\}[0-9]*\)\..*/mpirun: rank \1 aborted the job, with code \2./
    b
  }

  # Some other message: let its first line go and look at the second one afresh.
  P
  D
}
