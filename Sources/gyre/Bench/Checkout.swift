import FoundationEssentials

/// The checkout of the source that the executable lies in.
enum Checkout {
  /// The commit that is checked out there.
  static var commit: String? {
    guard
      let executable = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    else { return nil }
    var folder = executable[...]
    while let slash = folder.lastIndex(of: "/") {
      folder = folder[..<slash]
      let head = text(ofFile: "\(folder)/.git/HEAD").firstLine
      if head.isEmpty { continue }
      guard head.hasPrefix("ref: ") else { return head }
      let name = head.dropFirst("ref: ".count)
      let loose = text(ofFile: "\(folder)/.git/\(name)").firstLine
      if !loose.isEmpty { return loose }
      let packed = text(ofFile: "\(folder)/.git/packed-refs").split(separator: "\n")
      return packed.first { $0.hasSuffix(" \(name)") }?.split(separator: " ").first
        .map(String.init)
    }
    return nil
  }
}
