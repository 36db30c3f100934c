// What whoever runs the tests likes to see, and in which language, must not decide whether they pass.
delete process.env['FORCE_COLOR'];
process.env['NO_COLOR'] = '1';
process.env['LC_ALL'] = 'C';
