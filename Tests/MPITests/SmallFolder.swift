import TestSupport

/// A file system of 24 MiB for the shared windows of one job, which nobody else sees.
///
/// It is mounted in a namespace of its own, where the system lets this user make one.
enum SmallFolder {
  /// Runs a case of `mpi-checks` whose windows are in such a file system.
  static func run(_ name: String, ranks: Int) async throws -> CommandResult {
    let folder = try TemporaryFolder()
    // The folder is removed with its last use.
    defer { withExtendedLifetime(folder) {} }
    return try await MPIJob.run(
      program: "mpi-checks", arguments: [name], ranks: ranks,
      environment: [
        "OMPI_MCA_osc_sm_backing_directory": folder.path,
        // In its own namespace every user is root, whom mpirun refuses unless told.
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
      ],
      wrapper: wrapper(folder.path))
  }

  /// Whether this user may mount one.
  static func isPossible() async throws -> Bool {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let command = wrapper(folder.path) + ["true"]
    return try await Command.run(
      command[0], arguments: Array(command.dropFirst()), timeoutSeconds: 10
    ).isSuccess
  }

  private static func wrapper(_ path: String) -> [String] {
    [
      "unshare", "--map-root-user", "--mount", "sh", "-c",
      "mount -t tmpfs -o size=24m tmpfs \"$0\" && exec \"$@\"", path,
    ]
  }
}
