internal import COpenMPI
internal import Glibc

/// Facts about the MPI library and the launch, known without initializing MPI.
public enum MPIEnvironment {
  /// The name and version of the MPI library, in its own words.
  ///
  /// C: `MPI_Get_library_version`, MPI 3.1 §8.1.1.
  public static var libraryVersion: String {
    unsafe textFromC(capacity: Int(MPI_MAX_LIBRARY_VERSION_STRING)) { text in
      var length: CInt = 0
      unsafe MPI_Get_library_version(text, &length)
    }
  }

  /// The version of the library whose header this program was compiled with, as `4.1.4`.
  ///
  /// ``libraryVersion`` is that of the library found at run time.
  public static var compiledVersion: String {
    "\(OMPI_MAJOR_VERSION).\(OMPI_MINOR_VERSION).\(OMPI_RELEASE_VERSION)"
  }

  /// The version of the MPI standard that the library implements, as (3, 1).
  ///
  /// C: `MPI_Get_version`, MPI 3.1 §8.1.1.
  public static var standardVersion: (major: Int, minor: Int) {
    var major: CInt = 0
    var minor: CInt = 0
    unsafe MPI_Get_version(&major, &minor)
    return (Int(major), Int(minor))
  }

  /// The name of the machine that this process runs on.
  ///
  /// This is the host name, which is what Open MPI answers too; `MPI_Get_processor_name` itself
  /// may be called only after initialization.
  public static var processorName: String {
    let capacity = 255
    return unsafe textFromC(capacity: capacity) { text in
      _ = unsafe gethostname(text, capacity)
    }
  }

  /// Whether a launcher (mpirun, or srun with PMIx or PMI) started this process as an MPI rank.
  ///
  /// Told from the variables that launchers set: `OMPI_COMM_WORLD_SIZE`, `PMIX_RANK`, `PMI_RANK`.
  /// A program can decide by it whether to initialize MPI at all.
  public static var isLaunchedByMPI: Bool {
    let names = ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"]
    return names.contains { unsafe getenv($0) != nil }
  }

  /// Has the kernel send this process a signal when its parent ends, which is mpirun or its daemon.
  ///
  /// Open MPI itself ends a rank whose daemon is gone without any signal, a moment later. The
  /// signal also comes when only the thread ends that started the process: a handler compares
  /// `getppid()`.
  public static func requestSignalAtParentsEnd(_ signal: Int32) {
    _ = copenmpi_signal_at_parents_end(signal)
  }

  /// Whether MPI is initialized in this process and not yet finalized.
  ///
  /// C: `MPI_Initialized`, `MPI_Finalized`, MPI 3.1 §8.7.
  public static var isRunning: Bool {
    var initialized: CInt = 0
    var finalized: CInt = 0
    unsafe MPI_Initialized(&initialized)
    unsafe MPI_Finalized(&finalized)
    return initialized != 0 && finalized == 0
  }
}
