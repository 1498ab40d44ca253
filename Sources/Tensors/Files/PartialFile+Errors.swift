import Glibc
internal import SystemPackage

extension PartialFile {
  /// The error that the file under construction at `path` cannot be created.
  static func cannotCreate(
    _ target: String, folder: String, _ path: String, _ failure: Errno
  ) -> TensorFileError {
    let folderName = quoted(folder, limit: 4096)
    let (problem, remedy) =
      switch failure {
      case .noSuchFileOrDirectory: ("the directory \(folderName) does not exist", "create it first")
      case .notDirectory: ("\(folderName) is not a directory", "choose another place")
      case .permissionDenied, .notPermitted, .readOnlyFileSystem:
        (
          "it cannot be created in \(folderName): \(failure)",
          "choose a directory that you may write to"
        )
      case .fileExists:
        (
          "\(quoted(path, limit: 4096)) is there already, from a run that was stopped or still "
            + "goes",
          "remove it if no such run goes on"
        )
      case .fileNameTooLong: ("its name is too long", "choose a shorter one")
      default: ("it cannot be created: \(failure)", "choose another place")
      }
    return TensorFileError(.unwritable, path: target, problem, remedy: remedy)
  }

  /// The error that `activity` on an open file fails.
  static func cannotWrite(
    _ target: String, _ activity: String, _ failure: Errno
  ) -> TensorFileError {
    let remedy =
      switch failure {
      case .noSpace, Errno(rawValue: EDQUOT): "free some space or choose another disk"
      case .fileTooLarge:
        "raise the limit on the size of files (ulimit -f) or choose another file system"
      default: "check the disk or the network file system"
      }
    return TensorFileError(
      .unwritable, path: target, "\(activity) failed: \(failure)", remedy: remedy)
  }
}
