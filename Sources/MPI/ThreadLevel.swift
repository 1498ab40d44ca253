internal import COpenMPI

/// How many threads of a process may call MPI.
///
/// Levels are ordered: each allows all that the levels before it allow.
///
/// C: the thread constants of `MPI_Init_thread`, MPI 3.1 §12.4.3.
public enum ThreadLevel: Int, Sendable, Comparable, CaseIterable {
  /// The process has one thread.
  case single
  /// Many threads, of which only the one that initialized MPI calls it.
  case funneled
  /// Many threads may call MPI, one at a time.
  case serialized
  /// Many threads may call MPI at the same time.
  case multiple

  /// Whether `left` allows less than `right`.
  public static func < (left: ThreadLevel, right: ThreadLevel) -> Bool {
    left.rawValue < right.rawValue
  }

  /// MPI's number for the level.
  var constant: CInt {
    switch self {
    case .single: CInt(MPI_THREAD_SINGLE)
    case .funneled: CInt(MPI_THREAD_FUNNELED)
    case .serialized: CInt(MPI_THREAD_SERIALIZED)
    case .multiple: CInt(MPI_THREAD_MULTIPLE)
    }
  }

  /// The level with MPI's number `constant`.
  init?(constant: CInt) {
    guard let level = ThreadLevel.allCases.first(where: { $0.constant == constant }) else {
      return nil
    }
    self = level
  }
}
