import ArgumentParser
import Tensors

/// Whether files that exist may be replaced, for the commands that write some.
struct OverwriteOptions: ParsableArguments {
  @Flag(
    name: .customLong("no-overwrite"),
    help: "Refuse to replace files that exist. Without it they are replaced when all is done.")
  var keepsExisting = false

  /// The same for a target.
  var existing: OutputTarget.Existing { keepsExisting ? .keep : .replace }
}
