internal import Glibc

/// A run of one of this package's executables, under mpirun or alone.
///
/// Jobs of parallel tests wait for each other: several at once on few cores would only make their
/// times meaningless.
public enum MPIJob {
  /// Runs `program` on `ranks` ranks of this machine, however many cores it has.
  ///
  /// - Parameters:
  ///   - program: the name of an executable of this package.
  ///   - arguments: its arguments.
  ///   - ranks: how many processes to start.
  ///   - environment: variables added for mpirun, which passes those named `OMPI_…` on to the
  ///     ranks.
  ///   - wrapper: a command with arguments that runs mpirun, which follows as its last arguments.
  ///   - rankWrapper: the same for each rank.
  ///   - cleansUp: whether ranks that mpirun ends, since another has failed, get the second that it
  ///     gives them by default. Without it a job ends sooner, but mpirun itself can hang or crash at
  ///     its end (in `PMIx_server_finalize`) where the others are at MPI's end already.
  ///   - standardInput: what rank 0 reads.
  ///   - timeoutSeconds: after how long the whole job is killed.
  /// - Returns: how mpirun ended, and what all ranks wrote.
  /// - Throws: where mpirun cannot be started.
  public static func run(
    program: String, arguments: [String] = [], ranks: Int, environment: [String: String] = [:],
    wrapper: [String] = [], rankWrapper: [String] = [], cleansUp: Bool = false,
    standardInput: String = "", timeoutSeconds: Double = 60
  ) async throws -> CommandResult {
    // Ranks that wait inside MPI give their cores away, as they do where there are more of them
    // than cores: a machine that does other work too has fewer cores than it says.
    var variables = ["OMPI_MCA_mpi_yield_when_idle": "1"]
    if !cleansUp { variables["OMPI_MCA_odls_base_sigkill_timeout"] = "0" }
    let environment = variables.merging(environment) { $1 }
    var options = ["-n", "\(ranks)", "--oversubscribe", "--bind-to", "none"]
    // Containers build as root, which mpirun refuses unless told.
    if geteuid() == 0 { options.append("--allow-run-as-root") }
    let command =
      wrapper + ["mpirun"] + options + rankWrapper + [BuiltProducts.executable(program)] + arguments
    return try await JobQueue.shared.run {
      try await Command.run(
        command[0], arguments: Array(command.dropFirst()), environment: environment,
        standardInput: standardInput, timeoutSeconds: timeoutSeconds)
    }
  }

  /// Runs `program` by itself, without mpirun.
  ///
  /// - Parameters:
  ///   - program: the name of an executable of this package.
  ///   - arguments: its arguments.
  ///   - environment: variables added to those of the tests.
  ///   - timeoutSeconds: after how long it is killed.
  /// - Returns: how it ended, and what it wrote.
  /// - Throws: where it cannot be started.
  public static func runAlone(
    program: String, arguments: [String] = [], environment: [String: String] = [:],
    timeoutSeconds: Double = 60
  ) async throws -> CommandResult {
    let path = BuiltProducts.executable(program)
    let environment = QuickStart.alone.merging(environment) { $1 }
    return try await JobQueue.shared.run {
      try await Command.run(
        path, arguments: arguments, environment: environment, timeoutSeconds: timeoutSeconds)
    }
  }
}

/// Lets one job run at a time, in the order in which they come.
actor JobQueue {
  static let shared = JobQueue()

  private var isBusy = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  func run<Result: Sendable>(
    _ job: @Sendable () async throws -> Result
  ) async throws -> Result {
    if isBusy {
      await withCheckedContinuation { waiting.append($0) }
    } else {
      isBusy = true
    }
    defer {
      // The turn passes to the next one without being free in between.
      if waiting.isEmpty { isBusy = false } else { waiting.removeFirst().resume() }
    }
    return try await job()
  }
}
