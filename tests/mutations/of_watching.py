"""Rules of what people are shown and what they fetch, broken on purpose."""

from typing import Final

from tests.mutations.mutation import Mutation

SHOWING: Final = "tests/cli/render/test_views.py::"
GROUPS: Final = "tests/cli/render/test_ci_groups.py::"
FETCHED: Final = "tests/cli/test_download_folder.py::"

OF_WATCHING: Final = (
    Mutation(
        name="a remark behind half a line",
        promise="logs/remarks-have-their-own-line",
        file="airunner/cli/render/views.py",
        old="        if self._line_starts.start_line(STDERR):\n",
        new="        if False:\n",
        test=f"{SHOWING}test_a_remark_begins_a_line_of_its_own",
    ),
    Mutation(
        name="a marker that ends the lines of both streams",
        promise="logs/remarks-have-their-own-line",
        file="airunner/cli/render/views.py",
        old="        self._unended.discard(where)\n",
        new="        self._unended.clear()\n",
        test=f"{SHOWING}test_a_marker_on_one_stream_ends_no_line_of_the_other",
    ),
    Mutation(
        name="a group that an attempt leaves open",
        promise="logs/remarks-have-their-own-line",
        file="airunner/cli/render/views.py",
        old="                if isinstance(body, JobReturned | JobFinished) and self._step_groups:\n",
        new="                if isinstance(body, JobFinished) and self._step_groups:\n",
        test=f"{SHOWING}test_what_an_attempt_left_open_ends_before_it_is_back_in_line",
    ),
    Mutation(
        name="a step whose name is a command to the CI system",
        promise="logs/remarks-have-their-own-line",
        file="airunner/cli/render/ci_groups.py",
        old=".replace('##', '# #')",
        new="",
        test=f"{GROUPS}test_no_name_breaks_out_of_its_marker",
    ),
    Mutation(
        name="a fetch that replaces what came meanwhile",
        promise="results/fetch-is-whole-or-nothing",
        file="airunner/files/atomic.py",
        old="        if replace:\n",
        new="        if True:\n",
        test=f"{FETCHED}test_a_file_that_came_meanwhile_is_not_replaced_either",
    ),
    Mutation(
        name="half of a file that stays",
        promise="results/fetch-is-whole-or-nothing",
        file="airunner/files/atomic.py",
        old="            os.unlink(temporary, dir_fd=folder)\n        raise\n",
        new="            pass\n        raise\n",
        test=f"{FETCHED}test_what_breaks_off_leaves_nothing",
    ),
    Mutation(
        name="a fetch that fills a file under its own name",
        promise="results/fetch-is-whole-or-nothing",
        file="airunner/files/atomic.py",
        old='    temporary = os.path.join(os.path.dirname(name), f".partial-{os.urandom(4).hex()}")\n',
        new="    temporary = name\n",
        test=f"{FETCHED}test_until_it_is_whole_a_file_is_not_there",
    ),
)
