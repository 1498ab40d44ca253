internal import Foundation

/// What makes Open MPI start sooner, and changes nothing else on one machine.
///
/// The suite starts hundreds of jobs, and half of a start goes into transports that are not used:
/// 0.40 s become 0.20 s on two cores, and without mpirun 0.36 s become 0.05 s.
public enum QuickStart {
  /// Variables for all commands: messages go by `ob1`.
  ///
  /// Open MPI chooses it by itself where there is no fast network, after it has tried the others.
  /// Whoever sets `OMPI_MCA_pml` tests those.
  public static let variables =
    ProcessInfo.processInfo.environment["OMPI_MCA_pml"] == nil ? ["OMPI_MCA_pml": "ob1"] : [:]

  /// Variables for a program that is started without mpirun: it starts no daemon.
  ///
  /// It would need one only to start further processes. All such programs have one folder for their
  /// sessions, which one would remove while another makes it: each process of tests, in which they
  /// run one at a time, has its own.
  public static let alone = [
    "OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_orte_tmpdir_base": sessions,
  ]

  private static let sessions: String = {
    let folder = sessionFolder()
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    atexit { try? FileManager.default.removeItem(atPath: sessionFolder()) }
    return folder
  }()

  private static func sessionFolder() -> String {
    NSTemporaryDirectory() + "gyre-alone-\(getpid())"
  }
}
