import CInstructions
import Glibc
import Synchronization

extension InstructionSet {
  /// Those of ``compiled`` that this processor has, the best last.
  ///
  /// Linux saves tiles only for processes that have asked for it, and may refuse.
  public static let ofThisProcessor = supported(cpuinfo: firstProcessor()).filter {
    $0 != .amx || gyre_request_tiles() == 0
  }

  /// The one whose kernels are used where none is named: the best of ``ofThisProcessor``, until
  /// another is chosen.
  public static var inUse: InstructionSet {
    let index = chosen.load(ordering: .relaxed)
    return index < 0 ? ofThisProcessor.last ?? required : allCases[index]
  }

  /// Chooses another for all that is computed from now on.
  ///
  /// - Precondition: it is one of ``ofThisProcessor``.
  public static func use(_ set: InstructionSet) {
    precondition(ofThisProcessor.contains(set), "this processor has no \(set)")
    chosen.store(allCases.firstIndex(of: set) ?? -1, ordering: .relaxed)
  }

  /// The place among all cases of what has been chosen; −1 if nothing has.
  private static let chosen = Atomic(-1)

  /// `/proc/cpuinfo` up to the end of the line that tells the features of the first processor: with
  /// hundreds of cores all of it takes milliseconds to make up.
  private static func firstProcessor() -> String {
    guard let file = unsafe fopen("/proc/cpuinfo", "r") else { return "" }
    defer { unsafe fclose(file) }
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { unsafe free(line) }
    while unsafe getline(&line, &capacity, file) > 0, let text = unsafe line {
      let text = unsafe String(cString: text)
      if text.hasPrefix("flags") { return text }
    }
    return ""
  }
}
