internal import Foundation

/// Files of real tensors beside the package, which need not be there.
public enum SharedData {
  /// `GYRE_DATA`, or `../shared/data` seen from the package.
  public static let path =
    ProcessInfo.processInfo.environment["GYRE_DATA"]
    ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path + "/shared/data"

  /// Whether the files are there.
  public static var exists: Bool {
    FileManager.default.fileExists(atPath: path + "/real-qkv.safetensors")
  }
}
