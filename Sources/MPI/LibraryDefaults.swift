internal import Glibc

/// What this module asks Open MPI for, unless the user asks for something else.
///
/// Parameters of Open MPI are environment variables, which `mpirun --mca` sets too; those that are
/// set are left alone. Other MPI libraries know nothing of them.
enum LibraryDefaults {
  private static let parameters = [
    // Over TCP large messages are sent in fragments of 128 KiB, and not put as a whole: what the
    // ranks have to tell each other about the next message would wait behind megabytes that go the
    // same way, so that two ranks which send to each other take turns instead of using both
    // directions.
    "OMPI_MCA_btl_tcp_flags": "1"
  ]

  /// Sets the parameters, before MPI is initialized.
  static func apply() {
    for (name, value) in parameters { unsafe setenv(name, value, 0) }
    // By this variable Open MPI takes a task of srun for one of many, and refuses to start where it
    // has no PMI to find the others by. A task that is alone has none to find.
    if let announced = AnnouncedRanks.ofThisProcess, announced.variable == "SLURM_STEP_NUM_TASKS",
      announced.size == 1, !MPIEnvironment.isLaunchedByMPI
    {
      unsafe unsetenv("SLURM_NODELIST")
    }
  }
}
