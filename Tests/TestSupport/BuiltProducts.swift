internal import Foundation

/// What the build has put beside the tests.
public enum BuiltProducts {
  /// The directory of the built products, with the executables of this package and `Modules`.
  ///
  /// It is the directory of the test executable, or the nearest one above it that has modules.
  public static let directory: String = {
    let candidates = ["/proc/self/exe", CommandLine.arguments[0]].map {
      URL(fileURLWithPath: $0).resolvingSymlinksInPath().deletingLastPathComponent()
    }
    for candidate in candidates {
      var directory = candidate
      while directory.path != "/" {
        let modules = directory.appendingPathComponent("Modules").path
        if FileManager.default.fileExists(atPath: modules) { return directory.path }
        directory.deleteLastPathComponent()
      }
    }
    preconditionFailure("no built products beside \(candidates.map(\.path))")
  }()

  /// The path of an executable of this package.
  public static func executable(_ name: String) -> String {
    let path = "\(directory)/\(name)"
    precondition(
      FileManager.default.isExecutableFile(atPath: path), "\(path) is not built")
    return path
  }

  /// The root of the package's sources.
  public static let packageRoot: String = {
    // …/Tests/TestSupport/BuiltProducts.swift
    var url = URL(fileURLWithPath: #filePath)
    for _ in 0..<3 { url.deleteLastPathComponent() }
    return url.path
  }()
}
