import os
import pty
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, subprocess, sys, time
from decomp.experiments.interruption import signals_as_interruptions, stoppable

with signals_as_interruptions(), stoppable():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("a handler as Ray installs one"))
    child = subprocess.Popen(["sleep", "100"], preexec_fn=lambda: None)
    try:
        print("ready", flush=True)
        time.sleep(100)
    finally:
        child.terminate()
        print("child", child.wait(), flush=True)
"""


def _heed_all():
    """Some signals are ignored where the tests run in the background."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_a_command_as_ctrl_c_does_and_its_status_tells_which(number):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_all,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == "Stopped. Committed cycles are kept; the same command goes on from there.\n"
    assert out == f"child {-signal.SIGTERM}\n"  # a child ends by the signal as usual


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_that_an_extension_module_turns_into_its_own_error_is_one(number):
    turned = "        time.sleep(100)\n    except KeyboardInterrupt:\n        raise ValueError('no matrix') from None\n"
    program = PROGRAM.replace("        time.sleep(100)\n", turned)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_all
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == "Stopped. Committed cycles are kept; the same command goes on from there.\n"


def test_a_signal_to_the_whole_group_is_left_to_the_command():
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, preexec_fn=_heed_all, start_new_session=True
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert out == f"child {-signal.SIGTERM}\n"  # which ended it, not the signal


def test_an_ending_that_waits_for_what_has_ended_already_is_cut_short():
    program = PROGRAM.replace("with signals", "import atexit\natexit.register(time.sleep, 100)\n\nwith signals", 1)
    program = program.replace("import signal,", "from decomp.experiments import interruption\nimport signal,", 1)
    program = program.replace("with signals", "interruption.LAST_SECONDS = 0.5\nwith signals", 1)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, preexec_fn=_heed_all)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_second_signal_disturbs_no_ending():
    program = PROGRAM.replace("child.wait()", "child.wait(), time.sleep(1)")
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_nohup_is_respected():
    program = PROGRAM.replace("time.sleep(100)", "time.sleep(1)")
    process = subprocess.Popen(["nohup", sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_lost_terminal_is_no_further_error():
    pid, terminal = pty.fork()
    if pid == 0:
        _heed_all()
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM])
    told = b""
    while not told.endswith(b"\n"):
        told += os.read(terminal, 100)
    assert told == b"ready\r\n"
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGHUP
