import Glibc
import Synchronization

/// The signal that has told this process to stop, 0 if none has.
private let stopSignal = Atomic<Int32>(0)

/// Whether the process has been told to stop, for those who would rather be asked than killed.
enum StopRequest {
  /// From now on SIGTERM and SIGINT only leave word.
  static func listen() {
    // The handler must not be the first to touch it, which would allocate.
    stopSignal.store(0, ordering: .relaxed)
    for number in [SIGTERM, SIGINT] {
      signal(number) { stopSignal.store($0, ordering: .relaxed) }
    }
  }

  /// The signal, if one has come.
  static var number: Int32? {
    let number = stopSignal.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }
}
