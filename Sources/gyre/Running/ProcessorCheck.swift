import Attention
import Glibc
import Hosts
import Reporting

/// Says in one sentence that the processor lacks what the program was built for, and ends it.
func requireInstructionSet() {
  let required = InstructionSet.required
  let missing = required.missingFeatures(cpuinfo: text(ofFile: "/proc/cpuinfo"))
  if missing.isEmpty { return }
  printError(
    "gyre: this processor lacks \(missing.joined(separator: ", ")), which all of gyre is compiled "
      + "for (\(required), from about 2013); run it on a newer one.")
  exit(EXIT_FAILURE)
}
