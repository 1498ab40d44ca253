package import MPI

/// The parts of memory that ranks share.
package protocol SharedParts: AnyObject {
  /// The part of a rank, at the same place until ``free()``.
  @unsafe func unsafeBytes(of rank: Int) -> UnsafeMutableRawBufferPointer

  /// Gives the memory back, called by all.
  func free() throws(MPIError)
}

/// The parts of a window of MPI.
final class WindowParts: SharedParts {
  private var window: SharedWindow?

  init(_ window: consuming SharedWindow) { self.window = consume window }

  @unsafe
  func unsafeBytes(of rank: Int) -> UnsafeMutableRawBufferPointer {
    switch window {
    case .some(let window): unsafe window.unsafeBytes(of: rank)
    case .none: preconditionFailure("shared memory that was given back")
    }
  }

  func free() throws(MPIError) {
    if let window = window.take() { try window.free() }
  }
}
