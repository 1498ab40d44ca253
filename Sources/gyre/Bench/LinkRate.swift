import FoundationEssentials

/// What the scripts that emulate hosts say of the links between them.
enum LinkRate {
  /// In bytes a second; nil where nobody has said so.
  static var announced: Double? {
    ProcessInfo.processInfo.environment["GYRE_LINK_RATE"].flatMap(Rate.init(argument:))?.value
  }
}
