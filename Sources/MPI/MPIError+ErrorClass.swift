internal import COpenMPI

extension MPIError {
  /// The kind of an ``MPIError``: MPI's error classes, and below zero those of this module.
  public struct ErrorClass: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    /// MPI's number of the class, negative for the classes of this module.
    public let rawValue: Int

    /// The class with MPI's number `rawValue`.
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// A message longer than the memory it was received into: `MPI_ERR_TRUNCATE`.
    public static let truncate = ErrorClass(rawValue: Int(MPI_ERR_TRUNCATE))
    /// A communicator that MPI does not know: `MPI_ERR_COMM`.
    public static let communicator = ErrorClass(rawValue: Int(MPI_ERR_COMM))
    /// A rank outside the communicator: `MPI_ERR_RANK`.
    public static let rank = ErrorClass(rawValue: Int(MPI_ERR_RANK))
    /// An argument that MPI refused: `MPI_ERR_ARG`.
    public static let argument = ErrorClass(rawValue: Int(MPI_ERR_ARG))
    /// Ranks that were to share memory run on several machines: `MPI_ERR_RMA_SHARED`.
    public static let notOneNode = ErrorClass(rawValue: Int(MPI_ERR_RMA_SHARED))
    /// An operator that MPI refused for the element type: `MPI_ERR_OP`.
    public static let operation = ErrorClass(rawValue: Int(MPI_ERR_OP))
    /// A resource that ran out inside MPI: `MPI_ERR_INTERN`.
    public static let intern = ErrorClass(rawValue: Int(MPI_ERR_INTERN))
    /// A failure that MPI does not classify: `MPI_ERR_OTHER`.
    public static let other = ErrorClass(rawValue: Int(MPI_ERR_OTHER))

    /// A message shorter than the receive that it met.
    public static let short = ErrorClass(rawValue: -1)
    /// A wait that met its deadline.
    public static let timedOut = ErrorClass(rawValue: -2)
    /// MPI provides less thread support than the program requires.
    public static let threadLevel = ErrorClass(rawValue: -3)
    /// MPI has been initialized in this process before; it can be only once.
    public static let alreadyInitialized = ErrorClass(rawValue: -4)
    /// More user-defined reduction operators alive than there are callback slots.
    public static let operatorSlots = ErrorClass(rawValue: -5)
    /// The machine has no room for the shared memory that its ranks ask for, or Open MPI is set up
    /// to share none.
    public static let sharedMemory = ErrorClass(rawValue: -6)

    /// The class by its name, as `MPI_ERR_TRUNCATE`, or by its number.
    public var description: String {
      switch self {
      case .truncate: "MPI_ERR_TRUNCATE"
      case .communicator: "MPI_ERR_COMM"
      case .rank: "MPI_ERR_RANK"
      case .argument: "MPI_ERR_ARG"
      case .operation: "MPI_ERR_OP"
      case .notOneNode: "MPI_ERR_RMA_SHARED"
      case .intern: "MPI_ERR_INTERN"
      case .other: "MPI_ERR_OTHER"
      case .short: "short message"
      case .timedOut: "timed out"
      case .threadLevel: "thread level"
      case .alreadyInitialized: "already initialized"
      case .operatorSlots: "operator slots"
      case .sharedMemory: "shared memory"
      default: "MPI error class \(rawValue)"
      }
    }
  }
}
